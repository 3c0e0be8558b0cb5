# Prints a line for each path after "$1": absent, or
#   mode links uid gid user group size mtime link content
# Content is there with "$1" = read, for regular files; link and content are base64
# behind "=", or "-". Stat and content come from one open descriptor.
how=$1
shift
for f in "$@"; do
	if [ ! -e "$f" ]; then
		if [ -L "$f" ]; then
			echo "$f is a symbolic link to nothing" >&2
			exit 1
		fi
		echo absent
		continue
	fi
	link=-
	if [ -L "$f" ]; then
		link="=$(readlink -n -f -- "$f" | base64 -w 0)" || exit
	fi
	if [ "$how" = read ] && [ -f "$f" ]; then
		exec 3<"$f" || exit
		printf '%s %s =' "$(stat -L -c '%f %h %u %g %U %G %s %Y' /proc/self/fd/3)" "$link"
		base64 -w 0 <&3 || exit
		echo
		exec 3<&-
	else
		printf '%s %s -\n' "$(stat -L -c '%f %h %u %g %U %G %s %Y' -- "$f")" "$link"
	fi
done
