# Prints the state of the operation in the directory "$1": a line
#   absent|not-started|running|done|died rc started pid boot_id size-of-out
# with "-" for what is not there, a line with the end of its standard error in base64,
# and its standard output from byte "$2" on, at most "$3" bytes. Waits up to "$4"
# seconds while it runs and has no more output than that.
op=$1
state() {
	if [ ! -d "$op" ]; then
		echo absent
	elif [ -e "$op/rc" ]; then
		echo done
	elif ! flock -n -s "$op/lock" true; then
		echo running
	elif [ -e "$op/rc" ]; then # it ended just now
		echo done
	elif [ -e "$op/started" ]; then
		echo died
	else
		echo not-started
	fi
}
show() {
	if [ -s "$1" ]; then printf ' %s' "$(cat "$1")"; else printf ' -'; fi
}
size() {
	stat -c %s -- "$op/out" 2>/dev/null || echo 0
}
end=$(($(date +%s) + $4))
while s=$(state) && [ "$s" = running ] && [ "$(size)" -le "$2" ] && [ "$(date +%s)" -lt "$end" ]; do
	sleep 0.3
done
printf '%s' "$s"
for f in rc started pid boot_id; do show "$op/$f"; done
echo " $(size)"
[ "$s" != absent ] || exit 0
tail -c 4096 "$op/err" | base64 -w 0
echo
tail -c "+$(($2 + 1))" "$op/out" | head -c "$3"
