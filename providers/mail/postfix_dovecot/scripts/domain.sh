#!/bin/sh
# domain.sh PARAMETER DOMAIN add|remove|take: edit a list of domains in main.cf
# (virtual_mailbox_domains, mydestination), or only take what was changed in its maps
# into use. trivial-rewrite would keep an old map for ten seconds, and smtpd refuse
# mail for the domain that long. It begins with reload.sh.
set -eu
export LC_ALL=C
state=${MAILMOVE_STATE:-/var/lib/mailmove}
# Until Postfix is reloaded, what main.cf says is not in force.
mark() {
	mkdir -p "$state"
	echo "$1 $2" >"$state/reload"
	sync "$state/reload" "$state"
}
list=$(postconf -h "$1")
case $3 in
add)
	mark add "$2"
	postconf -e "$1 = ${list:+$list, }$2"
	;;
remove)
	# What waits for an alias would go to the domain's MX as if it came from here.
	if [ "$1" = mydestination ] && postqueue -j | tr '[:upper:]' '[:lower:]' | grep -qF "@$2\""; then
		echo "mail for $2 is still queued here: see postqueue -p" >&2
		exit 1
	fi
	mark remove "$2"
	postconf -e "$1 = $(printf '%s' "$list" | tr -s ', \t' '\n' | grep -vxiF -e "$2" | grep . | paste -s -d ' ')" ;;
esac
master=$(sed 's/ //g' "$(postconf -h queue_directory)/pid/master.pid")
before=$(pgrep -P "$master" -x trivial-rewrite || :)
reload_postfix
for pid in $before; do
	tenths=0
	while kill -0 "$pid" 2>/dev/null && [ "$tenths" -lt 200 ]; do
		sleep 0.1
		tenths=$((tenths + 1))
	done
done
rm -f "$state/reload"
