# A hoster's move: many domains from one server to another, each at its own pace.
# Every domain is an instance of std/live with a clock of its own, so that one may be
# drained while another waits for its window; `mailmove status` shows them all. What
# the domains share (mailmove's hooks on the servers) stays until the last has done.

mailmove {
  required_version = ">= 0.1"
  state { path = "hosting.state.json" }
}

variable "domains" {
  description = "The domains that move: accounts and aliases by local part, and the day of the handover."
  type = map(object({
    accounts = map(object({ quota = optional(string) }))
    aliases  = optional(map(set(string)), {})
    day      = string
  }))
  default = {
    "alpha.example" = {
      accounts = { info = { quota = "2GiB" }, ada = {} }
      aliases  = { sales = ["ada", "info"] }
      day      = "mon"
    }
    "beta.example" = {
      accounts = { info = {} }
      day      = "thu"
    }
  }
}

provider "postfix_dovecot" "old" {
  address = "198.51.100.10"
  ssh { user = "root" }
}

provider "postfix_dovecot" "new" {
  address = "198.51.100.20"
  ssh { user = "root" }
}

provider "rfc2136" "alpha" {
  zone   = "alpha.example"
  server = "198.51.100.53"
}

provider "rfc2136" "beta" {
  zone   = "beta.example"
  server = "198.51.100.53"
}

locals {
  zones = {
    "alpha.example" = provider.rfc2136.alpha
    "beta.example"  = provider.rfc2136.beta
  }
}

module "domain" {
  source   = "std/live"
  for_each = var.domains

  domain = each.key
  old    = provider.postfix_dovecot.old
  new    = provider.postfix_dovecot.new
  zone   = local.zones[each.key]
  old_mx = "mail.old.example"
  new_mx = "mail.new.example"

  accounts = each.value.accounts
  aliases  = each.value.aliases
  cutover  = { window = { days = [each.value.day], start = "05:00", end = "07:00", timezone = "Europe/Zurich" } }
}

output "home" {
  description = "Which server each account's home is, by domain."
  value       = { for domain, move in module.domain : domain => move.home }
}
