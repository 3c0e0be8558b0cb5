#!/bin/sh
# reload.sh: functions for scripts that reload Postfix. They use no variables of others.

# in_local MASTER: a process of local(8) has a message in hand.
in_local() {
	for pid in $(pgrep -P "$1" -x local); do
		# shellcheck disable=SC2010 # the names are those of the kernel and of Postfix
		if ls -l "/proc/$pid/fd" 2>/dev/null | grep -q -e '/active/' -e '/incoming/'; then return 0; fi
	done
	return 1
}

# reload_postfix: reload Postfix at an instant when local(8) has nothing in hand, if
# there is one within half a minute. A reload moves the queue files, and local(8) then
# fails in the middle of an alias: whoever was served before gets the message again,
# or it is left alone for a minute. The queue manager stands still while we look, so
# that nothing is begun meanwhile; a process of its own lets it go on should we be
# killed.
reload_postfix() (
	postfix=$(sed 's/ //g' "$(postconf -h queue_directory)/pid/master.pid")
	manager=$(pgrep -P "$postfix" -x qmgr || :)
	if [ -z "$manager" ]; then
		postfix reload >/dev/null 2>&1
		return
	fi
	# shellcheck disable=SC2016 # expanded by that shell
	setsid sh -c 'sleep 60; kill -CONT "$1"' sh "$manager" >/dev/null 2>&1 </dev/null 9>&- &
	guard=$!
	end=$(($(date +%s) + 30))
	while :; do
		kill -STOP "$manager"
		if [ "$(date +%s)" -gt "$end" ]; then break; fi
		# Twice, since a process that has just begun has opened nothing yet.
		if ! in_local "$postfix" && sleep 0.05 && ! in_local "$postfix"; then break; fi
		kill -CONT "$manager"
		sleep 0.05
	done
	rc=0
	postfix reload >/dev/null 2>&1 || rc=$?
	# It would begin what it has prepared; the next one starts from the queue files.
	kill -TERM "$manager" 2>/dev/null || :
	kill -CONT "$manager" 2>/dev/null || :
	kill "$guard" 2>/dev/null || :
	return "$rc"
)
