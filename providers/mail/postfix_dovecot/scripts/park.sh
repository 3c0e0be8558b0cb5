#!/bin/sh
# park.sh: Dovecot's checkpassword program for an account that is being handed
# over. Dovecot runs it after the password has been found right. It waits until
# it is decided where the account is at home and says so: proxy fields, or
# nothing for "here". Descriptor 3 holds the credentials, which it does not need
# but must take; descriptor 4 takes the answer.
export LC_ALL=C
doors=/etc/dovecot/mailmove
cat <&3 >/dev/null
login=$(printf %s "$AUTH_USER" | tr '[:upper:]' '[:lower:]')
held="$doors/held/$SERVICE/$login"
tenths=0
while [ -e "$held" ]; do
	# Dovecot gives up after 150 seconds; better a temporary failure of ours.
	[ "$tenths" -lt 1400 ] || exit 111
	if [ "$tenths" -lt 100 ]; then sleep 0.1 && tenths=$((tenths + 1)); else sleep 1 && tenths=$((tenths + 10)); fi
done
fields=
away="$doors/away/$SERVICE/$login"
if [ -e "$away" ]; then
	# LOGIN::::::: FIELD FIELD...; a reply separates fields by tabs.
	fields=$(sed 's/^.*:::::: *//; s/ nopassword=y//; s/^/ /' "$away" | tr ' ' '\t')
	case $fields in
	*proxy=y*) ;;
	*)
		# Who is away is not served here, unless that has changed just now.
		[ ! -e "$away" ] || exit 111
		fields=
		;;
	esac
fi
printf 'user=%s%s' "$AUTH_USER" "$fields" >&4
exit 0
