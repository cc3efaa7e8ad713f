"""AgentDojo without a model: what a wholly compromised assistant can do under Kernos' monitor. See README.md."""
