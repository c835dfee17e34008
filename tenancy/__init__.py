"""Who there is and who may: organizations, teams, keys; authentication and permissions."""
