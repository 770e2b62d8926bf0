//! Commands of the command socket (management guide 9.3): all known, none obeyed yet.

/// One a line.
pub(super) const COMMANDS: &str = "\
@!<pid>
@<relative pid>
@master
_getsocks
_loadstatus
_send_status
abort ssl ca-file
abort ssl cert
abort ssl crl-file
acme challenge_ready
acme renew
acme status
add acl
add backend
add map
add server
add ssl ca-file
add ssl crt-list
add ssl jwt
clear acl
clear counters
clear map
clear table
commit acl
commit map
commit ssl ca-file
commit ssl cert
commit ssl crl-file
debug counters
debug dev abort
debug dev bug
debug dev check
debug dev close
debug dev deadlock
debug dev delay
debug dev exit
debug dev fd
debug dev hash
debug dev hex
debug dev log
debug dev loop
debug dev panic
debug dev sched
debug dev stream
debug dev sym
debug dev task
debug dev tkill
debug dev warn
debug dev write
del acl
del backend
del map
del server
del ssl ca-file
del ssl cert
del ssl crl-file
del ssl crt-list
del ssl jwt
disable agent
disable dynamic-cookie backend
disable frontend
disable health
disable server
dump ssl cert
dump stats-file
echo
enable agent
enable dynamic-cookie backend
enable frontend
enable health
enable server
experimental-mode
expert-mode
get acl
get map
get var
get weight
hard-reload
help
httpclient
mcli-debug-mode
new ssl ca-file
new ssl cert
new ssl crl-file
operator
prepare acl
prepare map
prompt
publish backend
quit
reload
set anon global-key
set anon off
set anon on
set dynamic-cookie-key backend
set map
set maxconn frontend
set maxconn global
set maxconn server
set profiling
set rate-limit
set server
set severity-output
set ssl ca-file
set ssl cert
set ssl crl-file
set ssl ocsp-response
set ssl tls-key
set table
set timeout
set var
set weight
show acl
show activity
show anon
show backend
show cache
show cli level
show cli sockets
show default-server
show defaults
show dev
show env
show errors
show events
show fd
show info
show libs
show map
show peers
show pools
show proc
show profiling
show resolvers
show schema json
show servers conn
show servers state
show sess
show ssl ca-file
show ssl cert
show ssl crl-file
show ssl crt-list
show ssl jwt
show ssl ocsp-response
show ssl ocsp-updates
show ssl providers
show ssl sni
show startup-logs
show stat
show table
show tasks
show threads
show tls-keys
show trace
show version
shutdown frontend
shutdown session
shutdown sessions server
trace
unpublish backend
update ssl ocsp-response
user
wait";
