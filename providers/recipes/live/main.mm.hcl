# std/live moves a domain while mail flows and users work.
#
# Every account has a home. The server that is not its home relays its mail and
# proxies its logins to the home, from the first phase on, so that it never
# matters which server a sender or a user finds. In the cutover each account is
# handed over in a few seconds, and only then does DNS follow.

phase "prepare" {
  title = "Accounts and aliases on the new server, which passes everything to the old one; TTLs lowered"
}

phase "copy" {
  title    = "Copy every account while it is in use"
  after    = phase.prepare
  rollback = phase.prepare
}

phase "cutover" {
  title    = "Hand over every account, then point the MX and the service names at the new server"
  after    = phase.copy
  rollback = phase.copy

  gate "in_sync" {
    title     = "every copy is close behind"
    condition = alltrue([for c in values(mail_copy.box) : c.behind <= var.tolerance])
  }

  gate "ttl_lapsed" {
    title      = "no cache holds a record with the old TTL any more"
    not_before = local.cached_until
  }

  gate "approved" {
    approval { from = var.cutover.approve }
  }

  gate "window" {
    window { schedule = var.cutover.window }
  }
}

phase "drain" {
  title    = "The old server relays and proxies whoever still finds it"
  after    = phase.cutover
  rollback = phase.cutover
}

phase "settle" {
  title = "The old server stops to accept mail for the domain; TTLs restored; what was temporary is removed"
  after = phase.drain

  gate "cached" {
    title      = "no cache names the old server any more"
    not_before = local.cached_until
  }

  gate "quiet" {
    title      = "no sender has come to the old server for long enough"
    not_before = mail_stragglers.old.quiet_until
  }
}

locals {
  # A local part of this domain, or a whole address.
  members = { for name in toset(flatten([for list in values(var.aliases) : tolist(list)])) :
    name => strcontains(name, "@") ? name : "${name}@${var.domain}"
  }

  # alias => the accounts that name it
  named = { for pair in flatten([for name, account in var.accounts :
    [for alias in account.aliases : { alias = alias, to = "${name}@${var.domain}" }]
  ]) : pair.alias => pair.to... }

  aliases = merge(
    { for alias, to in local.named : "${alias}@${var.domain}" => toset(to) },
    { for alias, to in var.aliases : "${alias}@${var.domain}" => toset([for name in to : local.members[name]]) },
    length(var.catch_all) == 0 ? {} : {
      "@${var.domain}" = toset([for name in var.catch_all : strcontains(name, "@") ? name : "${name}@${var.domain}"])
    },
  )

  addresses = toset([for name in keys(var.accounts) : "${name}@${var.domain}"])

  probed = setunion(local.addresses, toset([for alias in keys(local.aliases) : alias if !startswith(alias, "@")]))

  # The latest moment at which a cache may hold a record that has been replaced.
  # All are written alike (RFC 3339 in UTC), so that the order of text is that of time.
  cached       = compact([for r in concat([dns_rrset.mx], values(dns_rrset.service)) : r.cached_until])
  cached_until = length(local.cached) == 0 ? null : reverse(sort(local.cached))[0]
}
