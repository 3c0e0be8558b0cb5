# One domain in waves: a pilot group is handed over first, the others on another
# day. Every wave is an instance of the module ./wave with phases of its own; the
# MX moves when all of them have been handed over. It does not matter before: the
# old server relays and proxies whoever has moved.

mailmove {
  required_version = ">= 0.1"
  state { path = "example.net.state.json" }
}

variable "waves" {
  description = "The accounts of each wave, by local part, and when it may be handed over."
  type = map(object({
    accounts = map(object({ quota = optional(string) }))
    window = optional(object({
      days     = optional(list(string))
      start    = string
      end      = string
      timezone = optional(string, "UTC")
    }))
  }))
  default = {
    pilot = { accounts = { murphy = {} } }
    others = {
      accounts = { office = {}, sales = { quota = "2GiB" } }
      window   = { days = ["sat"], start = "20:00", end = "23:00", timezone = "Europe/Paris" }
    }
  }
}

locals {
  domain    = "example.net"
  accounts  = merge([for wave in values(var.waves) : wave.accounts]...)
  addresses = toset([for name in keys(local.accounts) : "${name}@${local.domain}"])
  aliases   = { info = ["office@${local.domain}"], team = ["murphy@${local.domain}", "sales@${local.domain}"] }
}

provider "postfix_dovecot" "old" {
  address = "198.51.100.10"
  ssh { user = "root" }
}

provider "postfix_dovecot" "new" {
  address = "198.51.100.20"
  ssh { user = "root" }
}

provider "rfc2136" "zone" {
  zone   = local.domain
  server = "198.51.100.53"
}

phase "prepare" {
  title = "Both servers trust each other; the TTL is lowered"
}

phase "open" {
  title    = "The waves' accounts come to the new server, which passes everything to the old one"
  after    = phase.prepare
  rollback = phase.prepare
}

phase "accept" {
  title    = "The new server accepts the domain"
  after    = phase.open
  rollback = phase.open

  gate "waves_ready" {
    title     = "every wave's accounts are on the new server"
    condition = alltrue([for wave in values(module.wave) : wave.ready])
  }
}

phase "handing" {
  title    = "The waves are handed over, each when its window opens"
  after    = phase.accept
  rollback = phase.accept
}

phase "moved" {
  title    = "The MX names the new server"
  after    = phase.handing
  rollback = phase.handing

  gate "waves_moved" {
    title     = "every wave has been handed over"
    condition = alltrue([for wave in values(module.wave) : wave.moved])
  }

  gate "ttl_lapsed" { not_before = dns_rrset.mx.cached_until }
}

phase "settle" {
  title = "The old server stops to accept mail for the domain; it goes on proxying logins"
  after = phase.moved

  gate "cached" { not_before = dns_rrset.mx.cached_until }
  gate "quiet" { not_before = mail_stragglers.old.quiet_until }
}

module "wave" {
  source   = "./wave"
  for_each = var.waves

  domain   = local.domain
  accounts = each.value.accounts
  window   = each.value.window
  old      = provider.postfix_dovecot.old
  new      = provider.postfix_dovecot.new
  open     = reached(phase.open)
  handing  = reached(phase.handing)
}

resource "mail_claim" "old" {
  provider = provider.postfix_dovecot.old
}

resource "mail_claim" "new" {
  provider = provider.postfix_dovecot.new
}

resource "mail_trust" "old" {
  provider   = provider.postfix_dovecot.old
  peer       = provider.postfix_dovecot.new
  domain     = local.domain
  depends_on = [mail_claim.old]
}

resource "mail_trust" "new" {
  provider   = provider.postfix_dovecot.new
  peer       = provider.postfix_dovecot.old
  domain     = local.domain
  depends_on = [mail_claim.new]
}

resource "mail_alias" "old" {
  for_each = local.aliases
  provider = provider.postfix_dovecot.old
  address  = "${each.key}@${local.domain}"
  members  = each.value
}

resource "mail_alias" "new" {
  for_each = local.aliases
  provider = provider.postfix_dovecot.new
  address  = "${each.key}@${local.domain}"
  members  = each.value
  lifecycle { from = phase.accept }
}

resource "mail_domain" "old" {
  provider = provider.postfix_dovecot.old
  domain   = local.domain
  accept   = !reached(phase.settle)
}

resource "mail_domain" "new" {
  provider   = provider.postfix_dovecot.new
  domain     = local.domain
  depends_on = [mail_alias.new]
  lifecycle { from = phase.accept }
}

resource "mail_probe" "new" {
  provider   = provider.postfix_dovecot.new
  name       = "every account of ${local.domain}"
  addresses  = local.addresses
  depends_on = [mail_domain.new]
  lifecycle { from = phase.accept }
}

resource "mail_stragglers" "old" {
  provider = provider.postfix_dovecot.old
  domain   = local.domain
  quiet    = "72h"
  lifecycle { from = phase.moved }
}

resource "dns_claim" "zone" {
  provider = provider.rfc2136.zone
  lifecycle { until = phase.settle }
}

resource "dns_rrset" "mx" {
  provider   = provider.rfc2136.zone
  name       = "${local.domain}."
  type       = "MX"
  ttl        = reached(phase.settle) ? 3600 : 300
  records    = [reached(phase.moved) ? "10 mail.new.example." : "10 mail.old.example."]
  depends_on = [dns_claim.zone]
}

output "moved" {
  description = "Which waves have been handed over."
  value       = { for name, wave in module.wave : name => wave.moved }
}
