"""Plain data: settings, credentials, conditions, snapshot infos, conflicts, updates. No I/O, no engine."""
