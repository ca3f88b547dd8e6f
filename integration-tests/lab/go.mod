// The lab command, the demo application and the pause program: nothing beyond the standard library, so that they
// build in seconds. What is large to build has modules of its own beside this one.
module bellwether.local/lab

go 1.26.0
