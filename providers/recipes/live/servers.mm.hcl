# mailmove's place on both servers. Both keep it at the end: the old one goes on
# proxying the logins of users whose programs still know its address, and relaying
# what they and its other domains send to this one, and the new one goes on taking
# that. retire_old = true, just before the old server is switched off, ends that.

resource "mail_claim" "old" {
  provider = var.old
}

resource "mail_claim" "new" {
  provider = var.new
  lifecycle { until = var.retire_old ? phase.settle : null }
}

# Each server takes from the other what it hands over, past its filters, and never
# hands it back.

resource "mail_trust" "old" {
  provider   = var.old
  peer       = var.new
  domain     = var.domain
  depends_on = [mail_claim.old]
  lifecycle { until = phase.settle }
}

resource "mail_trust" "new" {
  provider   = var.new
  peer       = var.old
  domain     = var.domain
  depends_on = [mail_claim.new]
  lifecycle { until = var.retire_old ? phase.settle : null }
}

# The new server passes everything to the old one before it knows the account, so
# that nobody can reach the account there too early.

resource "mail_handoff" "home" {
  for_each = var.accounts
  provider = var.old

  account = mail_account.old[each.key].address
  old     = var.old
  new     = var.new
  home    = reached(phase.cutover) ? "new" : "old"
  method  = var.method
  timeout = var.handoff_timeout

  depends_on = [mail_trust.old, mail_trust.new]
}

resource "mail_account" "old" {
  for_each = var.accounts
  provider = var.old
  address  = "${each.key}@${var.domain}"
}

resource "mail_account" "new" {
  for_each = var.accounts
  provider = var.new

  address       = mail_handoff.home[each.key].account
  quota         = each.value.quota
  password_from = reached(phase.cutover) ? null : var.old
}

# The same aliases on both, so that a change by hand on either is seen.

resource "mail_alias" "old" {
  for_each = local.aliases
  provider = var.old
  address  = each.key
  members  = each.value
}

resource "mail_alias" "new" {
  for_each = local.aliases
  provider = var.new
  address  = each.key
  members  = each.value
}

resource "mail_domain" "old" {
  provider   = var.old
  domain     = var.domain
  accept     = !reached(phase.settle)
  ignore     = var.ignore
  depends_on = [mail_trust.new]
}

resource "mail_domain" "new" {
  provider   = var.new
  domain     = var.domain
  ignore     = var.ignore
  depends_on = [mail_account.new, mail_alias.new]
}

# Every address is asked for by RCPT; no message is sent to a user.

resource "mail_probe" "old" {
  provider   = var.old
  name       = "every address of ${var.domain} on the old server"
  addresses  = local.probed
  depends_on = [mail_domain.old]
  lifecycle { until = phase.settle }
}

resource "mail_probe" "new" {
  provider   = var.new
  name       = "every address of ${var.domain} on the new server"
  addresses  = local.probed
  depends_on = [mail_domain.new]
  lifecycle { until = phase.settle }
}

resource "mail_copy" "box" {
  for_each = var.accounts
  provider = var.old

  account   = mail_account.new[each.key].address
  to        = var.new
  method    = var.method
  tolerance = var.tolerance
  lifecycle { from = phase.copy }
}

resource "mail_stragglers" "old" {
  provider = var.old
  domain   = var.domain
  quiet    = var.quiet
  lifecycle { from = phase.drain }
}
