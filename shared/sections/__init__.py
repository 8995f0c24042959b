"""What a section is: its words, what changed in it, when it is due. Pure; imports nothing of ours."""
