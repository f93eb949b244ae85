"""QiTech panels (extrusion lines): REST on 2.x, Socket.IO on 3.x."""
