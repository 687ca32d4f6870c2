"""What Prometheus is told: owns ``prometheus_client``. Learns of events from the log, and of states by asking."""
