"""The installation: settings, wiring, processes, and (below every app) the infrastructure they share."""
