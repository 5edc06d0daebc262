"""The process that runs tasks: dispatcher, executors, heartbeat, rescue."""
