# Starts a detached operation, once. "$1" is the directory of operations, "$2" the
# id, "$3" the digest of what is to run, "$4" the size of the program, "$5" the
# script that carries it out. Standard input holds the program and then the
# operation's own input. Prints "other" if the id belongs to something else.
#
# The directory of an operation comes into being by rename, complete. Its lock is
# held by every process of the operation and freed by the kernel when the last one
# ends or the machine restarts; "started" is on disk before anything runs, "rc" is
# the one commit point. So rc: done; else lock held: running; else started: died;
# else not started.
ops=$1
op=$1/$2
mkdir -p -- "$ops" || exit
if [ ! -d "$op" ]; then
	new=$(mktemp -d "$ops/.new.XXXXXXXX") || exit
	trap 'rm -rf -- "$new"' EXIT
	head -c "$4" >"$new/script" && cat >"$new/stdin" && echo "$3" >"$new/digest" &&
		: >"$new/lock" && : >"$new/out" && : >"$new/err" && sync -- "$new"/* "$new" || exit
	# It fails if another start was first; then there is a directory that is not empty.
	mv -T -- "$new" "$op" 2>/dev/null || [ -d "$op" ] || exit
	sync -- "$ops" || exit
fi
[ "$(cat "$op/digest")" = "$3" ] || {
	echo other
	exit 0
}
[ ! -e "$op/started" ] || exit 0
exec 9>>"$op/lock" || exit
# Whoever looks at the state holds the lock for an instant.
flock -w 30 9 || exit 0
[ ! -e "$op/started" ] || exit 0
date +%s >"$op/started.new" && sync -- "$op/started.new" && mv -T -- "$op/started.new" "$op/started" && sync -- "$op" || exit
unset MAILMOVE_RUN
MAILMOVE_OP=$2 setsid /bin/sh -c "$5" mailmove "$op" </dev/null >/dev/null 2>&1 &
