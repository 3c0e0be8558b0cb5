# visit.sh ADDRESS DOMAIN RELAY PORT...: what this server meets at the doors of its
# peer. Prints "PORT WHAT" for each: open, shut, or for RELAY, the peer's door, also
# silent or refused if it does not know this server. Bash alone opens connections
# without a program that may not be installed.
command -v bash >/dev/null || { echo 'there is no bash' >&2 && exit 1; }
# shellcheck disable=SC2016 # expanded by bash
exec bash -c '
address=$1 domain=$2 relay=$3
shift 3

connect() { timeout 10 bash -c "exec 3<>/dev/tcp/\$1/\$2" bash "$address" "$1" 2>/dev/null; }

# dialogue: a session up to RCPT, for an address that nobody has.
dialogue() {
	timeout 30 bash -c "
		exec 3<>/dev/tcp/\$1/\$2 || exit
		for line in \"EHLO \$(hostname)\" \"MAIL FROM:<>\" \"RCPT TO:<mailmove-looks@\$3>\" QUIT; do
			while read -r -t 20 answer <&3; do
				echo \"\$answer\"
				case \$answer in [0-9][0-9][0-9]-*) ;; *) break ;; esac
			done
			printf \"%s\\r\\n\" \"\$line\" >&3
		done
		read -r -t 20 answer <&3" bash "$address" "$1" "$domain" 2>/dev/null
}

for port; do
	if ! connect "$port"; then
		echo "$port shut"
	elif [ "$port" != "$relay" ]; then
		echo "$port open"
	else
		case $(dialogue "$port") in
		*"Client host rejected"*) echo "$port refused" ;;
		220*) echo "$port open" ;;
		*) echo "$port silent" ;;
		esac
	fi
done
' bash "$@"
