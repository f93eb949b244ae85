"""The doctor: one look at everything a site depends on, each finding with the next step."""
