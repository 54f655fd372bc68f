"""The pattern without any network: workers that are scanned, each as often as it asks."""
