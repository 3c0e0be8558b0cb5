# The smallest move: one domain, two accounts, two servers with Postfix and Dovecot,
# a zone on BIND. Everything else is std/live's default.
#
#   export MAILMOVE_TSIG=…        # the secret of the key that may update the zone
#   mailmove plan -out=move.plan
#   mailmove apply move.plan
#   mailmove apply -wait          # later, as often as you like

mailmove {
  required_version = ">= 0.1"
  state { path = "example.com.state.json" }
}

provider "postfix_dovecot" "old" {
  address = "198.51.100.10"
  name    = "mail.old.example"
  ssh { user = "root" }
}

provider "postfix_dovecot" "new" {
  address = "198.51.100.20"
  name    = "mail.new.example"
  ssh { user = "root" }
}

provider "rfc2136" "zone" {
  zone   = "example.com"
  server = "198.51.100.53"

  tsig {
    name   = "mailmove"
    secret = secret("env:MAILMOVE_TSIG")
  }
}

module "example_com" {
  source = "std/live"

  domain = "example.com"
  old    = provider.postfix_dovecot.old
  new    = provider.postfix_dovecot.new
  zone   = provider.rfc2136.zone
  old_mx = "mail.old.example"
  new_mx = "mail.new.example"

  accounts = {
    murphy = { quota = "10GiB", aliases = ["info", "sales"] }
    office = {}
  }
}

output "home" {
  description = "Which server each account's home is."
  value       = module.example_com.home
}
