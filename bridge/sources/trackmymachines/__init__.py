"""TrackMyMachines: the timeline of machines, and step events that are started and finished."""
