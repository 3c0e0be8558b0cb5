# What std/live wants to know. A move needs domain, old, new, zone, accounts,
# old_mx and new_mx; everything else has a default that suits most.

variable "domain" {
  type        = string
  description = "The domain whose mail moves."
}

variable "old" {
  type        = provider(mail)
  description = "The server that has the mail now."
}

variable "new" {
  type        = provider(mail)
  description = "The server that shall have it."

  validation {
    condition     = var.new != var.old
    error_message = "old and new are the same server. Mail can only be moved from one server to another: give new the provider block of the other one."
  }
}

variable "zone" {
  type        = provider(dns)
  description = "The domain's DNS zone."
}

variable "accounts" {
  type = map(object({
    quota   = optional(string)
    aliases = optional(set(string), [])
  }))
  description = "The accounts that move, by local part, each with the aliases that lead to it alone or with others."
}

variable "aliases" {
  type        = map(set(string))
  default     = {}
  description = "Further aliases, by local part: what they lead to, local parts of this domain or whole addresses."
}

variable "catch_all" {
  type        = set(string)
  default     = []
  description = "Where mail to all other addresses of the domain goes; empty for nowhere."
}

variable "old_mx" {
  type        = string
  description = "The host that the MX names now."
}

variable "new_mx" {
  type        = string
  description = "The host that the MX shall name."
}

variable "mx_preference" {
  type        = number
  default     = 10
  description = "The preference of the MX (RFC 5321 section 5.1)."
}

variable "services" {
  type = map(object({
    type = string
    old  = set(string)
    new  = set(string)
  }))
  default     = {}
  description = "Other names that move with the MX (imap, smtp, pop, webmail, …): type and records before and after."
}

variable "spf" {
  type = object({
    old    = string
    moving = string
    new    = string
  })
  default     = null
  description = "The domain's SPF record as it is now, while both servers send, and afterwards (RFC 7208). Left out: nobody's business here."
}

variable "ttl" {
  type = object({
    normal = optional(number, 3600)
    moving = optional(number, 300)
  })
  default     = {}
  description = "TTLs in seconds, afterwards and meanwhile."
}

variable "method" {
  type        = string
  default     = null
  description = "How accounts are copied: dsync, rsync, native. Left out: the best that both servers can."
}

variable "tolerance" {
  type        = number
  default     = 20
  description = "How many messages an account's copy may be behind when its handoff begins; the handoff carries the rest."
}

variable "handoff_timeout" {
  type        = string
  default     = "2m"
  description = "After this long without a decision an account is served by the old server again."
}

variable "cutover" {
  type = object({
    approve = optional(list(string))
    window = optional(object({
      days     = optional(list(string))
      start    = string
      end      = string
      timezone = optional(string, "UTC")
    }))
  })
  default     = {}
  description = "Who must approve the cutover ([] is anybody), and when it may happen. Left out: nobody, any time."
}

variable "quiet" {
  type        = string
  default     = "48h"
  description = "How long no sender shall have delivered to the old server before it stops to accept mail for the domain."
}

variable "ignore" {
  type        = set(string)
  default     = []
  description = "Addresses on the servers that nobody moves."
}

variable "watch" {
  type        = set(string)
  default     = []
  description = "Further names and addresses of the old server: every record of the zone that holds one must be declared or ignored."
}

variable "ignore_records" {
  type        = set(string)
  default     = []
  description = "Records that may go on naming the old server, as \"NAME TYPE\"."
}

variable "retire_old" {
  type        = bool
  default     = false
  description = "The old server is about to be switched off: in the last phase, what the new one has for it is removed."
}
