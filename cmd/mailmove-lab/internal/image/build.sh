#!/bin/sh
# Builds the image every host starts from. Runs in a mount namespace of its own, so that whatever is mounted here is
# gone when it ends, however it ends.
#   $1  the ext4 file to fill    $2  an empty directory to work in    the rest: Debian packages
set -eu
file=$1 dir=$2
shift 2

mkdir -p "$dir/fs" "$dir/root"
mount -o loop "$file" "$dir/fs"
mkdir -p "$dir/fs/upper" "$dir/fs/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/fs/upper,workdir=$dir/fs/work" "$dir/root"
mount -t proc proc "$dir/root/proc"
mount --rbind /dev "$dir/root/dev"
mount -t tmpfs tmpfs "$dir/root/tmp"
mount -t tmpfs tmpfs "$dir/root/run"
# A resolv.conf that is a link into /run would dangle now.
rm -f "$dir/root/etc/resolv.conf"
cp -L /etc/resolv.conf "$dir/root/etc/resolv.conf"

# Nothing may start while packages are set up: it would run in the namespaces of the machine.
printf '#!/bin/sh\nexit 101\n' > "$dir/root/usr/sbin/policy-rc.d"
chmod 755 "$dir/root/usr/sbin/policy-rc.d"
echo "postfix postfix/main_mailer_type select No configuration" | chroot "$dir/root" debconf-set-selections

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
chroot "$dir/root" apt-get -q update
chroot "$dir/root" apt-get -q -y --no-install-recommends \
	-o Dpkg::Options::=--force-confnew install "$@"
rm -f "$dir/root/usr/sbin/policy-rc.d"
sync
