#!/bin/sh
# park.sh: Dovecot's checkpassword program for an account that is being handed
# over. Dovecot runs it after the password has been found right. It waits until
# it is decided where the account is at home and says so: proxy fields, or
# nothing for "here". Descriptor 3 holds the credentials, which it does not need
# but must take; descriptor 4 takes the answer.
doors=/etc/dovecot/mailmove
cat <&3 >/dev/null
login=$(printf %s "$AUTH_USER" | tr A-Z a-z)
held="$doors/held/$SERVICE/$login"
tenths=0
while [ -e "$held" ]; do
	# Dovecot gives up after 150 seconds; better a temporary failure of ours.
	[ "$tenths" -lt 1400 ] || exit 111
	if [ "$tenths" -lt 100 ]; then sleep 0.1 && tenths=$((tenths + 1)); else sleep 1 && tenths=$((tenths + 10)); fi
done
printf 'user=%s' "$AUTH_USER" >&4
if [ -e "$doors/away/$SERVICE/$login" ]; then
	# LOGIN::::::: FIELD FIELD...; a reply separates fields by tabs.
	sed 's/^.*:::::: *//; s/ nopassword=y//; s/^/ /' "$doors/away/$SERVICE/$login" | tr ' ' '\t' | tr -d '\n' >&4
fi
exit 0
