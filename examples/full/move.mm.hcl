# A grown domain: aliases of aliases, a catch-all, an alias domain's worth of names
# that move with the MX, SPF, approvals, a weekend window, and what is left behind
# on purpose. The variables' values are in full.auto.mmvars.hcl.

mailmove {
  required_version = ">= 0.1"
  state { path = "example.org.state.json" }
}

variable "approvers" {
  description = "Who may approve the cutover."
  type        = list(string)

  validation {
    condition     = length(var.approvers) > 0
    error_message = "Somebody must be able to approve the cutover."
  }
}

variable "accounts" {
  description = "The accounts that move, by local part."
  type = map(object({
    quota   = optional(string, "5GiB")
    aliases = optional(set(string), [])
  }))
}

locals {
  domain  = "example.org"
  old_ip  = "198.51.100.10"
  new_ip  = "198.51.100.20"
  clients = ["imap", "smtp", "webmail", "autoconfig"]
}

provider "postfix_dovecot" "old" {
  address = local.old_ip
  name    = "mail.old.example"
  ssh { user = "admin" }
}

provider "postfix_dovecot" "new" {
  address = local.new_ip
  name    = "mail.new.example"
  ssh { user = "admin" }
}

provider "rfc2136" "zone" {
  zone   = local.domain
  server = "198.51.100.53"

  tsig {
    name   = "mailmove"
    secret = secret("file:/etc/mailmove/tsig")
  }
}

# What no machine can do, confirmed with mailmove approve.
provider "operator" "people" {}

resource "operator_step" "pop3" {
  provider     = provider.operator.people
  title        = "Users of POP3 know the day"
  instructions = "Write to the three users of POP3 that their program may fetch old messages once more."
}

module "example_org" {
  source     = "std/live"
  depends_on = [operator_step.pop3]

  domain = local.domain
  old    = provider.postfix_dovecot.old
  new    = provider.postfix_dovecot.new
  zone   = provider.rfc2136.zone
  old_mx = "mail.old.example"
  new_mx = "mail.new.example"

  accounts = var.accounts

  aliases = {
    info    = ["office"]
    staff   = ["murphy", "office", "lists"] # an alias of an alias
    lists   = ["info", "archive@elsewhere.example"]
    abuse   = ["murphy"]
    billing = ["office"]
  }
  catch_all = ["office"]

  services = { for name in local.clients : "${name}.${local.domain}." => {
    type = "A", old = [local.old_ip], new = [local.new_ip]
  } }

  spf = {
    old    = "v=spf1 ip4:198.51.100.10 -all"
    moving = "v=spf1 ip4:198.51.100.10 ip4:198.51.100.20 -all"
    new    = "v=spf1 ip4:198.51.100.20 -all"
  }

  ttl       = { normal = 86400, moving = 300 }
  tolerance = 50
  quiet     = "120h"

  cutover = {
    approve = var.approvers
    window  = { days = ["sat", "sun"], start = "06:00", end = "11:00", timezone = "Europe/Berlin" }
  }

  ignore         = ["root@example.org", "cron@example.org"]
  watch          = [local.old_ip]
  ignore_records = ["www.example.org A"]
}

check "quotas" {
  assert {
    condition     = alltrue([for name, a in var.accounts : a.quota != "none"])
    error_message = "An account has no quota."
  }
}

output "stragglers" {
  description = "Who still delivers to the old server."
  value       = module.example_org.stragglers
}
