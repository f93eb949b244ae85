"""The nouns everybody shares: standard library only, and no await."""
