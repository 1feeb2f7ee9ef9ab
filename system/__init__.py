"""The service under test: a small gym platform that promises never to lose an acknowledged write."""
