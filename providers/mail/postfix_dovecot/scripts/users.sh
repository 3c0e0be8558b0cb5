#!/bin/sh
# users.sh: accounts that are users of the system.
#
#	put                       standard input: lines NAME:HASH; makes the users that are not there, and gives each its hash
#	knows VECTOR PASSWORD...  prints the first hash that crypt(3) of this server does not know, if any
set -eu
umask 077
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
state=${MAILMOVE_STATE:-/var/lib/mailmove}

# put: who was made by us is written down before: a user without a password may be
# an attempt of ours that was interrupted, or somebody's whom we do not touch. There
# is nothing from /etc/skel, where a Maildir would be in the way of the copy.
put() {
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mkdir "$work/skeleton"
	cat >"$work/users"
	mkdir -p "$state"
	touch "$state/users"
	shell=$(command -v nologin || echo /bin/false)
	cut -d : -f 1 "$work/users" | while read -r name; do
		! awk -F : -v name="$name" '$1 == name { found = 1 } END { exit !found }' /etc/passwd || continue
		grep -qxF -e "$name" "$state/users" || printf '%s\n' "$name" >>"$state/users"
		sync "$state/users"
		useradd --create-home --skel "$work/skeleton" -K HOME_MODE=0700 --shell "$shell" "$name"
	done
	chpasswd -e <"$work/users"
}

knows() {
	while [ "$#" -gt 0 ]; do
		doveadm pw -t "$1" -p "$2" >/dev/null 2>&1 || { printf '%s\n' "$1" && return; }
		shift 2
	done
}

command=$1
shift
case $command in
put | knows) "$command" "$@" ;;
*) echo "unknown command $command" >&2 && exit 1 ;;
esac
