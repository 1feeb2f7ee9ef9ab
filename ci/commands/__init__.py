"""One file per verb of the `gymkhana` command, each exporting a click command or group named `command`."""
