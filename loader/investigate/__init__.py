"""What an analyst asks next: who is behind this."""
