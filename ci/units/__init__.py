"""Units for the schedulers that operators have already: what `gymkhana schedule` does, by systemd, cron or Kubernetes."""
