approvers = ["ada", "grace"]

accounts = {
  murphy = { quota = "20GiB", aliases = ["postmaster"] }
  office = {}
  intern = { quota = "512MiB" }
}
