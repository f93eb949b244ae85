"""What a PLC programmer declares to read a machine and to command it, in the dialects of PLCs. Pure, no await."""
