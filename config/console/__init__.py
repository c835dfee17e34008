"""The operators' console: what belongs to no app's admin, such as its look, its navigation and its dashboard."""
