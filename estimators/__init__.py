"""The statistics: identification, nuisances, effects, gates and verdicts. The judge doesn't know who proposed."""
