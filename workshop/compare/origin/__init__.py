"""The old Workers version, played by a stand-in: its rules, its statements, its endpoints, each defect a switch."""
