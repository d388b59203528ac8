"""The gateway between the web server and Django. It reads request bodies without a thread, then runs Django in one."""
