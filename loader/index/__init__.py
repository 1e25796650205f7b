"""The only room that writes event documents: client, templates, bulk, outcomes, dead letters, ledger."""
