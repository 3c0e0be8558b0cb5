output "home" {
  description = "Which server each account's home is."
  value       = { for account, handoff in mail_handoff.home : account => handoff.home }
}

output "behind" {
  description = "How many messages, flags and folders each copy is behind."
  value       = { for account, copy in mail_copy.box : account => copy.behind }
}

output "cached_until" {
  description = "Until when a cache may hold a record that has been replaced."
  value       = local.cached_until
}

output "stragglers" {
  description = "Who delivered to the old server although the MX names the new one, and when last."
  value       = mail_stragglers.old.hosts
}
