# The zone. Correctness does not hang on it: whoever finds the old server is relayed
# and proxied. TTLs decide only how long that goes on.

resource "dns_claim" "zone" {
  provider = var.zone
  watch    = setunion([var.old_mx], var.watch)
  ignore   = var.ignore_records
  lifecycle { until = phase.settle }
}

resource "dns_rrset" "mx" {
  provider = var.zone
  name     = "${var.domain}."
  type     = "MX"
  ttl      = reached(phase.settle) ? var.ttl.normal : var.ttl.moving
  records  = ["${var.mx_preference} ${trimsuffix(reached(phase.cutover) ? var.new_mx : var.old_mx, ".")}."]

  depends_on = [mail_handoff.home, mail_probe.new, dns_claim.zone]
}

resource "dns_rrset" "service" {
  for_each = var.services
  provider = var.zone
  name     = each.key
  type     = each.value.type
  ttl      = reached(phase.settle) ? var.ttl.normal : var.ttl.moving
  records  = reached(phase.cutover) ? each.value.new : each.value.old

  depends_on = [mail_handoff.home, dns_claim.zone]
}

resource "dns_rrset" "spf" {
  for_each = var.spf == null ? {} : { spf = var.spf }
  provider = var.zone
  name     = "${var.domain}."
  type     = "TXT"
  records  = [reached(phase.settle) ? each.value.new : each.value.moving]

  depends_on = [dns_claim.zone]
}
