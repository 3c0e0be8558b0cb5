#!/bin/sh
# build.sh: the indexed maps of the files that we edit.
#
#	begin FILE...                 the text is about to be changed: $begun/FILE says so until it is built
#	build PROGRAM TYPE FILE ...   makes them, with postmap or postalias
#	show PROGRAM TYPE FILE        prints what is in force: KEY, a tab, VALUE
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
	for file in "$@"; do
		mkdir -p "$begun${file%/*}"
		: >"$begun$file"
		sync "$begun$file" "$begun${file%/*}"
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
		rm -f "$begun$3"
		sync "${3%/*}"
		shift 3
	done
}

show() {
	index "$2"
	if [ -n "$ext" ] && [ -e "$3$ext" ]; then "$1" -s "$2:$3"; fi
}

command=$1
shift
case $command in
begin | build | show) "$command" "$@" ;;
*) echo "unknown command $command" >&2 && exit 1 ;;
esac
