#!/bin/sh
# build.sh PROGRAM TYPE FILE...: make the indexed maps of the files, with postmap or
# postalias. A map is built beside the old one and takes its place by rename: postmap
# in place leaves smtpd with half a map, and it answers "550 User unknown" to everybody.
# One at a time: an operator who was killed leaves a build behind that goes on, and
# would put in place what the next one has only begun, or what is out of date.
set -eu
while [ "$#" -gt 0 ]; do
	case $2 in
	hash | btree) ext=.db ;;
	lmdb) ext=.lmdb ;;
	cdb) ext=.cdb ;;
	texthash) ext= ;;
	*) echo "unknown map type $2" >&2 && exit 1 ;;
	esac
	if [ -n "$ext" ]; then
		# The directory, since the file is replaced by rename.
		exec 9<"${3%/*}"
		flock -w 60 9 || { echo "another command has been building maps in ${3%/*} for a minute" >&2 && exit 1; }
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
		sync "${3%/*}"
	fi
	shift 3
done
