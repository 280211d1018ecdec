"""What `mkt doctor` finds out: packages, this machine, and the library, each as a finding."""
