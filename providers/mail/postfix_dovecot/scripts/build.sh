#!/bin/sh
# build.sh: the indexed maps of the files that we edit.
#
#	begin FILE DIGEST ...         the text is about to be changed: $begun/FILE keeps the one that the map was made of
#	                              until the map is made anew; DIGEST is that of the new text
#	build PROGRAM TYPE FILE ...   makes them, with postmap or postalias
#
# A map is built beside the old one and takes its place by rename: postmap in place
# leaves smtpd with half a map, and it answers "550 User unknown" to everybody. One at a
# time: an operator who was killed leaves a build behind that goes on, and would put in
# place what the next one has only begun, or what is out of date.
set -eu
umask 022
begun=${MAILMOVE_STATE:-/var/lib/mailmove}/begun

# index TYPE: the suffix of the indexed file.
index() {
	case $1 in
	hash | btree) ext=.db ;;
	lmdb) ext=.lmdb ;;
	cdb) ext=.cdb ;;
	texthash) ext= ;;
	*) echo "unknown map type $1" >&2 && exit 1 ;;
	esac
}

begin() {
	while [ "$#" -gt 0 ]; do
		mkdir -p "$begun${1%/*}"
		if [ ! -e "$begun$1" ]; then
			cp -p "$1" "$begun$1.new"
			sync "$begun$1.new"
			rm -f "$begun$1.to"
		fi
		# Before there is a text to go by there is what it may become.
		echo "$2" >>"$begun$1.to"
		sync "$begun$1.to"
		[ -e "$begun$1" ] || mv "$begun$1.new" "$begun$1"
		sync "$begun${1%/*}"
		shift 2
	done
}

build() {
	while [ "$#" -gt 0 ]; do
		index "$2"
		# The directory, since the file is replaced by rename.
		exec 9<"${3%/*}"
		flock -w 60 9 || { echo "another command has been building maps in ${3%/*} for a minute" >&2 && exit 1; }
		if [ -n "$ext" ]; then
			build=$3.mailmove-in
			rm -f "$build" "$build$ext"
			cp -p "$3" "$build"
			"$1" "$2:$build"
			if [ -e "$3$ext" ]; then
				chown --reference="$3$ext" "$build$ext"
				chmod --reference="$3$ext" "$build$ext"
			fi
			sync "$build$ext"
			mv "$build$ext" "$3$ext"
			rm -f "$build"
		fi
		rm -f "$begun$3" "$begun$3.to"
		sync "${3%/*}"
		shift 3
	done
}

command=$1
shift
case $command in
begin | build) "$command" "$@" ;;
*) echo "unknown command $command" >&2 && exit 1 ;;
esac
