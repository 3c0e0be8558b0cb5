# Carries out the operation in the directory "$1"; the lock is descriptor 9.
cd "$1" || exit
trap : HUP INT TERM # the script is ended by them, this shell records how
echo "$$" >pid
cat /proc/sys/kernel/random/boot_id >boot_id
exec <stdin >out 2>err || exit
rm -f stdin # it may hold secrets
(cd / && exec /bin/sh "$1/script")
rc=$?
sync out err && echo "$rc" >rc.new && sync rc.new && mv -T rc.new rc && sync .
