# The first process of a server's own mount and process namespaces: it makes the server's root file system and runs the
# server in it. When it ends, so do all processes of the server.
#   $1  the directory of the server    $2  the tree of unpacked packages
#   $3  the layer to write to          the rest: the server's argv
set -eu
dir=$1 tree=$2 layer=$3
shift 3

mount --make-rprivate /
mkdir -p "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
cd "$layer/root"
mkdir -p proc dev run tmp srv
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
chmod 1777 tmp
mkdir dev/shm
chmod 1777 dev/shm
for node in null zero full random urandom; do
	touch "dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
mount --bind "$dir/srv" srv
ln -s /srv/syslog dev/log

chroot . "$@" &
pid=$!
trap 'kill -TERM $pid' TERM
while kill -0 $pid 2>/dev/null; do
	wait $pid || :
done
