require ["fileinto", "mailbox"];
# The server's own rule, before the users'.
if header :is "X-Spam-Flag" "YES" {
	fileinto :create "Junk";
	stop;
}
