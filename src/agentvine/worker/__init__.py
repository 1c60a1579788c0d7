"""The worker: claims work orders, runs the agent, proves the result, delivers it."""
