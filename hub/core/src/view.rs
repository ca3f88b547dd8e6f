//! What people see of a run, put together from its plan, its state and the agents' reports.
