# One wave: some accounts of a domain, which are copied and handed over together.

variable "domain" { type = string }

variable "accounts" {
  type = map(object({ quota = optional(string) }))
}

variable "window" {
  type    = any
  default = null
}

variable "old" { type = provider(mail) }
variable "new" { type = provider(mail) }

variable "open" {
  type        = bool
  description = "Both servers are prepared."
}

variable "handing" {
  type        = bool
  description = "The new server accepts the domain, so that accounts can be handed over."
}

phase "away" {
  title = "Accounts on the new server, which passes everything to the old one"
  gate "open" { condition = var.open }
}

phase "copy" {
  title    = "Copy every account while it is in use"
  after    = phase.away
  rollback = phase.away
}

phase "handover" {
  title    = "Hand over every account"
  after    = phase.copy
  rollback = phase.copy

  gate "handing" { condition = var.handing }
  gate "in_sync" { condition = alltrue([for c in values(mail_copy.box) : c.behind <= 20]) }

  gate "window" {
    window { schedule = var.window }
  }
}

phase "done" {
  after    = phase.handover
  rollback = phase.handover
}

resource "mail_account" "old" {
  for_each = var.accounts
  provider = var.old
  address  = "${each.key}@${var.domain}"
}

resource "mail_handoff" "home" {
  for_each = var.accounts
  provider = var.old

  account = mail_account.old[each.key].address
  old     = var.old
  new     = var.new
  home    = reached(phase.handover) ? "new" : "old"
}

resource "mail_account" "new" {
  for_each = var.accounts
  provider = var.new

  address       = mail_handoff.home[each.key].account
  quota         = each.value.quota
  password_from = reached(phase.handover) ? null : var.old
}

resource "mail_copy" "box" {
  for_each = var.accounts
  provider = var.old

  account   = mail_account.new[each.key].address
  to        = var.new
  tolerance = 20
  lifecycle { from = phase.copy }
}

output "ready" { value = reached(phase.copy) }
output "moved" { value = reached(phase.done) }
