#!/bin/sh
# build.sh TYPE FILE...: make the indexed maps of the files. A map is built beside
# the old one and takes its place by rename: postmap in place leaves smtpd with
# half a map, and it answers "550 User unknown" to everybody.
set -eu
while [ "$#" -gt 0 ]; do
	case $1 in
	hash | btree) ext=.db ;;
	lmdb) ext=.lmdb ;;
	cdb) ext=.cdb ;;
	texthash) ext= ;;
	*) echo "unknown map type $1" >&2 && exit 1 ;;
	esac
	if [ -n "$ext" ]; then
		build=$2.mailmove-in
		rm -f "$build" "$build$ext"
		cp -p "$2" "$build"
		postmap "$1:$build"
		if [ -e "$2$ext" ]; then
			chown --reference="$2$ext" "$build$ext"
			chmod --reference="$2$ext" "$build$ext"
		fi
		sync "$build$ext"
		mv "$build$ext" "$2$ext"
		rm -f "$build"
		sync "${2%/*}"
	fi
	shift 2
done
